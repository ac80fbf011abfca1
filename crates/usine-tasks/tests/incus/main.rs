//! Real runs in containers of a real Incus, which `packaging/test-incus` sets up (`INCUS_DIR` says where), in an environment
//! that the real mmdebstrap made.

#[path = "../real/fetch.rs"]
mod fetch;
#[allow(dead_code, reason = "the other real tests use the rest")]
#[path = "../real/house.rs"]
mod house;
#[allow(dead_code, reason = "the other real tests use the rest")]
#[path = "../real/source.rs"]
mod source;
mod stories;
#[path = "../support/mod.rs"]
mod support;
