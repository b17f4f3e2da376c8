//! What the agent has found out beside the packets' way, told to the program in force.
//!
//! The tables are not written from here: packets change them too, and an entry that two write at once is lost. A program of the same object
//! writes them, run on a record as if that were a frame.

use aya::programs::{TestRun, TestRunOptions};
use edge_ebpf::abi::EVENT_NAME;
use edge_ebpf::abi::beside::{LessonKind, LessonRecord, Taught};
use edge_ebpf::abi::identity::SignalSet;
use edge_ebpf::packet::{Address, Mac};

use super::error::Error;
use super::object::{Object, TEACH_PROGRAM};
use crate::engine::observe::segment::Flow;

/// Bytes of a name on the wire, and of a label (RFC 1035 section 2.3.4).
const LONGEST: usize = 255;
const LONGEST_LABEL: usize = 63;

/// A name as DNS carries it, without compression, in lower case.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WireName(Vec<u8>);

impl WireName {
    /// `None`: a label is empty or too long, or all of them together are.
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut wire = Vec::new();
        for label in labels {
            if label.is_empty() || label.len() > LONGEST_LABEL || wire.len() + label.len() + 2 > LONGEST {
                return None;
            }
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        wire.push(0);
        Some(Self(wire))
    }

    /// From a name with dots; one at the end is the root's. `None`: as [`Self::of_labels`], or there is nothing.
    pub fn of_text(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        Self::of_labels(text.split(|byte| *byte == b'.'))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Something to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lesson {
    /// The flow is known, as its device sends, and its name is this one, if it has any.
    Flow { flow: Flow, name: Option<WireName> },
    /// An answer gave the address for the name, for so many seconds.
    Address { address: Address, time_to_live: u32, name: WireName },
    /// The device has shown these signals, as bits by their slots.
    Signals { device: Mac, signals: SignalSet },
}

impl Lesson {
    fn record(&self) -> LessonRecord {
        let mut record = LessonRecord {
            source: [0; 2],
            destination: [0; 2],
            time_to_live: 0,
            kind: 0,
            source_port: 0,
            destination_port: 0,
            protocol: 0,
            named: 0,
            reserved: 0,
            name: [0; EVENT_NAME],
        };
        let halves = |Address { high, low }: Address| [high, low];
        let name = match self {
            Self::Flow { flow: Flow { source, destination, source_port, destination_port, protocol }, name } => {
                record.kind = LessonKind::Flow as u16;
                (record.source, record.destination) = (halves(*source), halves(*destination));
                (record.source_port, record.destination_port, record.protocol) = (*source_port, *destination_port, *protocol);
                name.as_ref()
            }
            Self::Address { address, time_to_live, name } => {
                record.kind = LessonKind::Address as u16;
                (record.destination, record.time_to_live) = (halves(*address), *time_to_live);
                Some(name)
            }
            Self::Signals { device, signals: [first, second, third, fourth] } => {
                record.kind = LessonKind::Signals as u16;
                (record.source, record.destination) = ([*first, *second], [*third, *fourth]);
                record.name.iter_mut().zip(device.0.to_le_bytes()).for_each(|(to, from)| *to = from);
                None
            }
        };
        if let Some(name) = name {
            record.named = 1;
            // A name is shorter than the field.
            record.name.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = *from);
        }
        record
    }

    /// Tells the program of `object`.
    ///
    /// # Errors
    /// If the kernel does not run it.
    pub fn tell(&self, object: &mut Object) -> Result<Taught, Error> {
        let record = self.record();
        let mut options = TestRunOptions::new();
        options.data_in = Some(super::pod::bytes_of(&record));
        let result = object.teacher()?.test_run(options);
        let result = result.map_err(|error| Error::Program { name: TEACH_PROGRAM, source: Box::new(error) })?;
        Ok(Taught::from_u32(result.return_value))
    }
}

/// Tells what devices have shown before. Those of the lessons that the program takes are not left.
pub fn tell(object: &mut Object, lessons: &mut Vec<Lesson>) {
    let before = lessons.len();
    let mut error = None;
    lessons.retain(|lesson| match lesson.tell(object) {
        Ok(Taught::Watched) => false,
        Ok(Taught::Refused | Taught::Unwatched) => true,
        Err(why) => {
            error = Some(why);
            true
        }
    });
    if let Some(error) = error {
        tracing::warn!(%error, devices = lessons.len(), "what devices have shown before is not known to the kernel");
    }
    if before > lessons.len() {
        tracing::info!(devices = before - lessons.len(), "the kernel was told what devices have shown before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form_on_the_wire() {
        assert_eq!(WireName::of_text(b"A.Miui.com").as_ref().map(WireName::bytes), Some(&b"\x01a\x04miui\x03com\0"[..]));
        assert_eq!(WireName::of_text(b"a.miui.com."), WireName::of_text(b"a.miui.com"));
        let label = [b'x'; 63];
        let long = |last: usize| WireName::of_labels([&label[..], &label, &label, &label[..last]]);
        assert_eq!(long(61).map(|name| name.bytes().len()), Some(255));
        assert_eq!(long(62), None);
        for wrong in [&b""[..], b".", b"a..b", b".a", b"a..", &[b'x'; 64]] {
            assert_eq!(WireName::of_text(wrong), None, "{wrong:?}");
        }
    }
}
