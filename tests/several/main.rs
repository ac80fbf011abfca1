//! Several servers on one PostgreSQL and one S3, as real processes, with workers and clients spread over them: what one does
//! the others know, one that is killed takes nothing with it, and they can be upgraded one after the other.

#[path = "../factory/house.rs"]
#[allow(dead_code, reason = "the stories of the factory need other parts of the house")]
mod house;
#[path = "../../crates/usine-db/tests/support/postgres.rs"]
mod postgres;
#[path = "../../crates/usine-store/tests/common/s3.rs"]
mod s3;

mod balancer;
mod farm;
mod kills;
mod sharing;
mod upgrade;
mod worker;
