//! The real processes under load, while things go wrong that nobody asks for: `kill -9` of server, workers and PostgreSQL's
//! backends; a network to PostgreSQL that delays, stalls and breaks; a full disk. Afterwards the invariants hold, and all
//! that was accepted has ended, once.
//!
//! Short in `make test`; `make soak MINUTES=…` for longer (`USINE_SOAK_MINUTES`). What happens, and when, follows from a
//! seed that is printed; `USINE_SOAK_SEED=n` gives it. When a process dies in the middle of what is up to the machine.

#[allow(dead_code, reason = "the dice of other tests, used in part")]
#[path = "../../crates/usine-db/tests/support/dice.rs"]
mod dice;
mod disk;
mod factory;
#[allow(dead_code, reason = "the factory of the other stories, used in part")]
#[path = "../factory/house.rs"]
mod house;
mod killing;
mod load;
#[path = "../../crates/usine-db/tests/support/postgres.rs"]
mod postgres;
mod proxy;
mod weather;
