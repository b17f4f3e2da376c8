use clap::{Args, ValueEnum};
use edge_agent::engine::EngineKind;

/// The option of the commands that ask an engine.
#[derive(Args)]
pub struct EngineChoice {
    /// What answers: the program in the kernel, the same code in this process, or the policies read rule by rule [default: kernel as root,
    /// else host]
    #[arg(long)]
    engine: Option<Name>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Kernel,
    Host,
    Oracle,
}

impl EngineChoice {
    pub fn kind(&self) -> EngineKind {
        match self.engine {
            Some(Name::Kernel) => EngineKind::Kernel,
            Some(Name::Host) => EngineKind::Host,
            Some(Name::Oracle) => EngineKind::Oracle,
            // SAFETY: takes nothing, touches nothing, cannot fail.
            None if unsafe { libc::geteuid() } == 0 => EngineKind::Kernel,
            None => EngineKind::Host,
        }
    }
}
