//! The conformance suite of the store port: what every engine must do, each behaviour a sentence,
//! written against the port's traits alone. An engine joins in `on_every_engine` and in `world`.
//! What one engine alone can do stands under its name: `on_sqlite`, and in `postgres`.
//! Must not know: tables or statements (`statements` alone looks at them).
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

        mod postgres {
            use crate::world::{Engine, World};

            $(
                #[tokio::test]
                async fn $behaviour() {
                    super::$behaviour(World::open(Engine::Postgres).await).await;
                }
            )+
        }
    };
}

/// Makes one test of each behaviour for Postgres behind a pooler in transaction mode, where each
/// transaction may run on another server connection.
macro_rules! behind_a_pooler_too {
    ($($behaviour:ident),+ $(,)?) => {
        mod pooled {
            use crate::world::{Engine, World};

            $(
                #[tokio::test]
                async fn $behaviour() {
                    super::$behaviour(World::open(Engine::Pooled).await).await;
                }
            )+
        }

        on_every_engine!($($behaviour),+);
    };
}

/// Makes one test of each behaviour that only a file on this machine can have.
macro_rules! on_sqlite {
    ($($behaviour:ident),+ $(,)?) => {
        mod sqlite_alone {
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

/// Makes one test of each behaviour for Postgres alone, straight and behind a pooler.
macro_rules! on_postgres {
    ($($behaviour:ident),+ $(,)?) => {
        mod postgres_alone {
            use crate::world::{Engine, World};

            $(
                #[tokio::test]
                async fn $behaviour() {
                    super::$behaviour(World::open(Engine::Postgres).await).await;
                }
            )+
        }

        mod pooled {
            use crate::world::{Engine, World};

            $(
                #[tokio::test]
                async fn $behaviour() {
                    super::$behaviour(World::open(Engine::Pooled).await).await;
                }
            )+
        }
    };
}

mod admission;
mod at_once;
mod bench;
mod budget;
mod claim;
mod claim_new;
mod cluster;
mod commands;
mod control;
mod deaf;
mod delivering;
mod enqueue;
mod erasure;
mod finish;
mod guards;
mod health;
mod held;
mod leases;
mod limits;
mod model;
mod opening;
mod order;
mod pausing;
mod pooling;
mod postgres;
mod processes;
mod producers;
mod reach;
mod reads;
mod releases;
mod restoring;
mod retention;
mod sharing;
mod statements;
mod submitted;
mod texts;
mod wakes;
mod world;
