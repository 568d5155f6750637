//! The conformance suite of the store port: what every engine must do, each behaviour a sentence,
//! written against the port's traits alone. An engine joins in `on_every_engine` and in `world`.
//! Must not know: tables or statements (`statements` alone looks at those of SQLite).
#![cfg(test)]

/// Makes one test of each behaviour for each engine.
macro_rules! on_every_engine {
    ($($behaviour:ident),+ $(,)?) => {
        mod sqlite {
            use crate::world::{Engine, World};

            $(
                #[tokio::test]
                async fn $behaviour() {
                    super::$behaviour(World::open(Engine::Sqlite).await).await;
                }
            )+
        }
    };
}

mod admission;
mod budget;
mod claim;
mod claim_new;
mod control;
mod finish;
mod leases;
mod model;
mod opening;
mod order;
mod processes;
mod reads;
mod statements;
mod texts;
mod world;
