//! From ns per packet to cores.

use crate::report::Row;

const SCENARIOS: [&str; 5] = ["shipped_dropped", "shipped_passed", "devices_10000", "countries_v4", "countries_v6"];
/// Gbit/s.
const RATES: [f64; 3] = [10.0, 25.0, 100.0];
/// Preamble, start of frame, and the gap between frames.
const BETWEEN_FRAMES: f64 = 20.0;
const SMALLEST: f64 = 64.0;
/// The simple Internet mix: of twelve frames seven of 64 bytes, four of 594, one of 1,518.
const MIX: f64 = (7.0 * 64.0 + 4.0 * 594.0 + 1518.0) / 12.0;

fn packets_per_second(gigabits: f64, frame: f64) -> f64 {
    gigabits * 1e9 / 8.0 / (frame + BETWEEN_FRAMES)
}

/// Prints the table, of what was measured.
pub fn print(rows: &[Row]) {
    let found: Vec<&Row> = SCENARIOS.iter().filter_map(|name| rows.iter().find(|row| row.scenario == *name)).collect();
    if found.is_empty() {
        return;
    }
    println!("\nCores that the filter keeps busy, beside what receiving and sending take; not measured: a real network card.");
    println!("\n| scenario | ns | {} |", RATES.map(|rate| format!("{rate} Gbit/s, 64 B | {rate} Gbit/s, mix")).join(" | "));
    println!("|---|{}", "---:|".repeat(1 + 2 * RATES.len()));
    for row in found {
        let cores = RATES.map(|rate| {
            let [small, mix] = [SMALLEST, MIX].map(|frame| packets_per_second(rate, frame) * row.value / 1e9);
            format!("{small:.2} | {mix:.2}")
        });
        println!("| {} | {:.1} | {} |", row.scenario, row.value, cores.join(" | "));
    }
}
