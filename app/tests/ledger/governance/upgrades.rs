//! Upgrades of the state: scheduled, called off, and gone through by an old program and a new one.

use careledger_app::{
    governance,
    machine::{Block, Machine},
    state::StateRead as _,
    store::memory::MemoryStore,
};
use careledger_wire::{access_log, ids::Digest};

use super::{agree, finalize};
use crate::{
    script::{FAMILIAR, run},
    world::{START, World, address},
};

#[test]
fn one_upgrade_is_scheduled_at_a_time_and_can_be_called_off() {
    let mut world = World::new();
    agree(&mut world, "upgrade 2 in 9");
    assert_eq!(run(&mut world, "r1 proposes p upgrade 2 in 20"), ["WrongUpgrade"]);
    agree(&mut world, "upgrade 2 off");
    agree(&mut world, "upgrade 2 in 3");
    let height = governance::of(world.machine.store()).upgrade_height;
    while world.machine.height() + 1 < height {
        assert_eq!(world.machine.state_version(), 1);
        finalize(&mut world, Vec::new(), &[]);
    }
    let upgraded = finalize(&mut world, Vec::new(), &[]);
    let parameters = upgraded.updates.parameters.expect("the version is in every header from the next on");
    assert_eq!((parameters.state_version, parameters.block_bytes), (2, None));
    assert_eq!(world.machine.state_version(), 2);
    assert!(world.machine.store().has(&careledger_app::keys::upgrade(2)));
    assert_eq!(run(&mut world, "r1 proposes again upgrade 2 in 5"), ["WrongUpgrade"]);
    assert_eq!(finalize(&mut world, Vec::new(), &[]).updates, Default::default(), "it is made once");
}

/// The upgrade from the program without it to the program with it, over one state.
#[test]
fn an_old_program_stops_before_the_upgrade_and_a_new_one_goes_on() {
    let mut world = World::new();
    run(&mut world, FAMILIAR);
    run(&mut world, "clinic logs 1\nclinic logs 2\nlab logs 1");
    agree(&mut world, "upgrade 2 in 2");
    let old = Machine::with_upgrades(world.machine.store().clone(), &[]);
    let height = old.height() + 1;
    let mut old = old;
    for height in height..height + 2 {
        if old.halts_before(height).is_some() {
            break;
        }
        let block = Block { height, time: START, transactions: Vec::new() };
        old.finalize(&block);
        old.commit();
    }
    let next = old.height() + 1;
    let stopped = old.halts_before(next).expect("the old program does not know the upgrade");
    assert_eq!((stopped.version, stopped.height), (2, next));
    assert!(stopped.to_string().contains("upgrade 2"));
    let store: MemoryStore = old.into_store();
    assert_eq!(store.scan(b"access-log-tree/", None, 9), []);

    let block = Block { height: next, time: START, transactions: Vec::new() };
    let [one, other] = [Machine::new(store.clone()), Machine::new(store)].map(|mut new| {
        assert_eq!(new.halts_before(next), None);
        let hash = new.finalize(&block).app_hash;
        new.commit();
        (hash, new)
    });
    assert_eq!(one.0, other.0, "the migration is the same everywhere");
    world = World { machine: one.1, replica: other.1, time: 0 };
    assert_log_is_of_its_batches(&world, "clinic", 2);
    assert_log_is_of_its_batches(&world, "lab", 1);
    assert_eq!(run(&mut world, "clinic logs 3\nchemist logs 1"), ["ok", "ok"]);
    assert_log_is_of_its_batches(&world, "clinic", 3);
    assert_log_is_of_its_batches(&world, "chemist", 1);
}

/// What is in the state is RFC 6962's root over the batches in the state.
fn assert_log_is_of_its_batches(world: &World, organization: &str, batches: u64) {
    let state = world.machine.store();
    let organization = address(organization);
    let leaf = |sequence| {
        let batch = state.get(&careledger_app::keys::access_log_batch(&organization, sequence)).expect("a batch");
        let root = Digest::try_from(batch.root.as_slice()).expect("a root");
        access_log::batch_leaf(&root, batch.count, batch.period_start, batch.period_end)
    };
    let leaves: Vec<Digest> = (1..=batches).map(leaf).collect();
    let tree = state.get(&careledger_app::keys::access_log_tree(&organization)).expect("a tree");
    assert_eq!((tree.size, tree.root), (batches, access_log::root(&leaves).to_vec()));
}
