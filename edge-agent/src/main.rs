//! `edge-agent`, the one binary that is deployed: its commands stand in [`cli`], everything they do in the library.
mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
