//! Containers as users mean them: names, requests, states, and the Spec that the runtime gets.
//!
//! A [`RunRequest`] says what was meant. [`Engine::prepare`] walks the straight line from there to a container that
//! is ready: [`facts::gather`] asks the machine what it must know, [`spec::build`] turns both into the `Spec` of
//! the OCI runtime specification without touching anything, and the runtime plans the launch. [`Prepared::run`]
//! hands it to the monitor. What a crash leaves behind is finished by the next [`Engine::open`].

mod bundle;
mod engine;
mod error;
mod etc;
mod explain;
pub mod facts;
mod name;
mod prepare;
mod record;
pub mod request;
pub mod spec;
mod user;

pub use bundle::{BundleRun, run_bundle};
pub use engine::{Engine, Force, Roots, Summary};
pub use error::EngineError;
pub use explain::Finding;
pub use prepare::Prepared;
pub use record::Record;
pub use request::RunRequest;
pub use skiff_monitor::{End, ExitRecord, ExitStatus, SignalProxy};
pub use spec::{RequestError, template};
pub use user::{Identity, identify, identify_by_number};
