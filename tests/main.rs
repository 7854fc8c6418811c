//! Integration tests: Weir from outside, beside real servers.

#![allow(clippy::disallowed_methods, reason = "tests run in real time")]

/// Makes of each case, which takes a [`kit::Version`], a test on every version of Postgres there is.
macro_rules! on_each_postgres {
    ($($case:ident),+ $(,)?) => {
        mod installed {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(crate::kit::Version::Installed).await;
            })+
        }
        mod eighteen {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(crate::kit::Version::Eighteen).await;
            })+
        }
    };
}

mod bank;
mod cdc;
mod chaos;
mod copy;
mod damage;
mod described;
mod drivers;
mod errors;
mod faults;
mod first;
mod full;
mod growth;
mod inspect;
mod kit;
mod lag;
mod memory;
mod observe;
mod place;
mod plans;
mod postgres;
mod psql;
mod resolution;
mod servers;
mod sessions;
mod sim;
mod slt;
mod snapshot;
mod store;
mod stream;
mod time_travel;
mod totals;
mod trust;
mod types;
mod upstream;
mod validation;
mod wide;
