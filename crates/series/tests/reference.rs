//! The reference engine passes the contract that it is the reference for.

use sitian_series::contract::{Reference, suite};

#[test]
fn the_reference_engine_passes_the_contract() {
    suite(Reference::default);
}
