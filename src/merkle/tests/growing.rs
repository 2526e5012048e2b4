use super::*;
use proptest::prelude::*;

/// Everything that a growth says, against the tree that it is about.
fn check(before: u64, added: u64, nodes: &Nodes) {
    let size = before + added;
    let growth = Growth::new(frontier(&leaves(before)), (before..size).map(leaf).collect());
    assert_eq!(growth.before(), &frontier(&leaves(before)));
    assert_eq!(growth.after(), &frontier(&leaves(size)));
    assert_eq!(growth.root(), nodes.root(size));
    for sequence in before..size {
        let expected = nodes.proof(proof::inclusion_nodes(sequence, size).unwrap());
        assert_eq!(growth.inclusion_proof(sequence), Some(expected));
    }
    for sequence in [size, size + 1, u64::MAX].into_iter().chain(before.checked_sub(1)) {
        assert_eq!(growth.inclusion_proof(sequence), None);
    }
    check_nodes(&growth, nodes);
}

fn check_nodes(growth: &Growth, nodes: &Nodes) {
    let (before, after) = (growth.before().size(), growth.after().size());
    for height in 0..12 {
        for index in 0..=after >> height {
            let node = NodeId { height, index };
            let end = (index + 1) << height;
            let is_new = end > before && end <= after;
            let is_peak = growth.before().node(node).is_some();
            let expected = (is_new || is_peak).then(|| nodes.get(node));
            assert_eq!(growth.node(node), expected, "{node:?}");
        }
    }
}

#[test]
fn one_leaf_grows_every_small_tree() {
    let nodes = Nodes::new(leaves(70));
    (0..70).for_each(|before| check(before, 1, &nodes));
}

#[test]
fn a_growth_by_nothing_is_the_tree_as_it_was() {
    let nodes = Nodes::new(leaves(12));
    (0..12).for_each(|before| check(before, 0, &nodes));
}

#[test]
fn a_node_of_an_absurd_height_is_none() {
    let growth = Growth::new(Frontier::default(), leaves(3));
    for height in [63, 64, u8::MAX] {
        assert_eq!(growth.node(NodeId { height, index: 0 }), None);
    }
}

#[test]
fn the_largest_trees_grow() {
    let size = tree::MAX_SIZE - 1;
    let before = Frontier::from_bytes(size, &[5; 32 * 63]).unwrap();
    let growth = Growth::new(before, leaves(1));
    assert_eq!(growth.after().size(), tree::MAX_SIZE);
    let proof = growth.inclusion_proof(size).unwrap();
    assert_eq!(proof, [[5; 32]; 63]);
    let verified = proof::verify_inclusion(&leaf(0), size, size + 1, &proof, &growth.root());
    assert_eq!(verified, Ok(()));
    let completed: Vec<_> = growth.completed_tiles();
    assert_eq!(completed.len(), 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_batch_does_what_its_leaves_do_one_by_one(before in 0u64..300, added in 0u64..300) {
        check(before, added, &Nodes::new(leaves(before + added)));
    }

    #[test]
    fn batches_add_up(splits in proptest::collection::vec(0u64..90, 0..8)) {
        let mut tree = Frontier::default();
        for added in splits {
            let new = (tree.size()..tree.size() + added).map(leaf).collect();
            tree = Growth::new(tree, new).after().clone();
        }
        prop_assert_eq!(&tree, &frontier(&leaves(tree.size())));
    }

    /// Completed tiles depend on sizes alone, so the peaks may be anything.
    #[test]
    fn completed_tiles_are_those_that_tlog_tiles_names(
        exponent in 0u32..40,
        offset in -400i64..400,
        added in 0u64..600,
    ) {
        let before = (1u64 << exponent).saturating_add_signed(offset);
        let peaks = vec![0; 32 * before.count_ones() as usize];
        let before = Frontier::from_bytes(before, &peaks).unwrap();
        let growth = Growth::new(before, vec![[1; 32]; usize::try_from(added).unwrap()]);
        let (before, after) = (growth.before().size(), growth.after().size());
        let expected: Vec<_> = tlog_tiles::Tile::new_tiles(8, before, after)
            .into_iter()
            .filter(|tile| tile.width() == 256)
            .map(|tile| TileId { level: tile.level(), index: tile.level_index() })
            .collect();
        prop_assert_eq!(growth.completed_tiles(), expected);
    }
}
