//! What the service ships beside its code.

use saga_definition::{Participants, compile};

#[test]
fn every_shipped_definition_is_right() {
    let participants = Participants::new(["evenkeel.quota.v1", "evenkeel.task.v1"]);
    for (name, source) in task::SAGAS {
        let checked = compile(source, &proto::descriptor_pool(), &participants);
        assert!(checked.is_ok(), "{name}: {:?}", checked.err());
    }
}

#[test]
fn the_barrier_table_is_the_one_the_barrier_expects() {
    let migration = task::MIGRATOR
        .iter()
        .find(|migration| migration.description == "create barrier");
    assert_eq!(migration.unwrap().sql.as_str(), barrier::TABLE_SQL);
}
