//! Questions that are answered on the spot, and those that cannot be.

use super::*;
use crate::query::quick::{Asked, LONG_WAYS};

async fn ask(world: &World) -> Value {
    let session = world.session(Role::Viewer, ReadScope::All);
    session.promql_instant("up", START_MS + 60_000, Options::default()).await.unwrap().value
}

#[tokio::test]
async fn what_is_in_memory_is_answered_on_the_spot_and_everything_else_the_long_way() {
    let world = World::new();
    world.sample(&commons("heart.example"), "a", 0, 1.0).await;
    let asked = Asked::new(&Grant::open().name, "up", (0, 0));
    let is_quick = || world.engine.quick.is_quick(asked);

    assert!(!is_quick());
    let in_head = ask(&world).await;
    assert!(matches!(&in_head, Value::Vector(samples) if samples.len() == 1));
    assert!(is_quick(), "the clock stands still");
    assert_eq!(ask(&world).await, in_head);
    assert!(is_quick(), "it was answered on the spot");
    let counted = || world.counted("commonwatch_query_on_the_spot_total");
    assert_eq!(counted(), ["commonwatch_query_on_the_spot_total{outcome=\"answered\"} 1"]);

    world.flush().await;
    assert_eq!(ask(&world).await, in_head);
    assert!(!is_quick(), "nobody has read that file yet");
    let handed_on = "commonwatch_query_on_the_spot_total{outcome=\"handed_on\"} 1";
    assert!(counted().iter().any(|line| line == handed_on), "{:?}", counted());
    for _ in 0..LONG_WAYS {
        assert_eq!(ask(&world).await, in_head);
    }
    assert!(is_quick());
    assert_eq!(ask(&world).await, in_head);
    assert!(is_quick(), "what was read of the file is in memory");
}

#[tokio::test]
async fn a_question_that_fails_is_answered_with_its_own_error_the_second_time_too() {
    let world = World::new();
    world.sample(&commons("heart.example"), "a", 0, 1.0).await;
    world.sample(&commons("heart.example"), "b", 0, 1.0).await;
    let session = world.session(Role::Viewer, ReadScope::All);
    let ask = async || {
        let query = "up * on (commons) up";
        session.promql_instant(query, START_MS, Options::default()).await.unwrap_err().to_string()
    };

    let first = ask().await;

    assert!(first.contains("many-to-many"), "{first}");
    assert_eq!(ask().await, first);
}
