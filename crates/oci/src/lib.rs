//! Plain data of the OCI specifications: references, digests, descriptors and the runtime spec.
