//! Plain data of the OCI specifications: references, digests, descriptors and the runtime spec.
//!
//! Nothing in here does anything: no file is opened and no connection made. The types of the specifications
//! themselves come from `oci-spec`, under the names [`runtime`] and [`image`]; what identifies content
//! ([`Digest`], [`DiffId`], [`ChainId`]) and what names it ([`Reference`]) is ours, because foreign bytes
//! reach it first and a command line waits for it.

mod digest;
mod reference;

pub use digest::{ChainId, DiffId, Digest, DigestError};
pub use oci_spec::OciSpecError as SpecError;
pub use oci_spec::image;
pub use oci_spec::runtime;
pub use reference::{Reference, ReferenceError};
