use super::*;
use proptest::prelude::*;

#[test]
fn the_empty_tree_has_the_hash_of_nothing() {
    let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Frontier::default().root(), hash(expected));
    assert_eq!(Frontier::default().to_bytes(), [0; 0]);
}

#[test]
fn a_frontier_has_the_root_that_rfc_6962_defines() {
    let leaves = leaves(130);
    let mut grown = Frontier::default();
    for (position, leaf) in leaves.iter().enumerate() {
        grown.push(*leaf);
        assert_eq!(grown.size(), position as u64 + 1);
        assert_eq!(grown.root(), merkle_tree_hash(&leaves[..=position]));
    }
}

#[test]
fn a_frontier_survives_as_bytes_with_its_size() {
    for size in 0..40 {
        let frontier = frontier(&leaves(size));
        let bytes = frontier.to_bytes();
        assert_eq!(Frontier::from_bytes(size, &bytes), Some(frontier));
        assert_eq!(Frontier::from_bytes(size, &[&bytes[..], &[0]].concat()), None);
        assert_eq!(Frontier::from_bytes(size, &[&bytes[..], &[0; 32]].concat()), None);
        assert_eq!(Frontier::from_bytes(size * 2 + 1, &bytes), None);
    }
}

#[test]
fn a_frontier_knows_its_peaks_only() {
    let nodes = Nodes::new(leaves(22)); // 16 + 4 + 2
    let frontier = frontier(&leaves(22));
    let peaks = [(4, 0), (2, 4), (1, 10)].map(|(height, index)| NodeId { height, index });
    assert_eq!(frontier.peaks(), peaks.map(|peak| nodes.get(peak)));
    for height in 0..=u8::MAX {
        for index in [0, 1, 4, 9, 10, 11, 21, u64::MAX] {
            let node = NodeId { height, index };
            let expected = peaks.contains(&node).then(|| nodes.get(node));
            assert_eq!(frontier.node(node), expected, "{node:?}");
        }
    }
}

#[test]
fn a_subtree_counts_as_its_leaves() {
    let nodes = Nodes::new(leaves(64));
    for (start, height) in [(0, 5), (32, 5), (48, 3), (48, 4), (6, 1), (7, 0), (40, 3)] {
        let mut whole = frontier(&leaves(start));
        let mut single = whole.clone();
        let root = nodes.get(NodeId { height, index: start >> height });
        assert_eq!(whole.push_subtree(height, root), Some(()));
        (start..start + (1 << height)).for_each(|sequence| single.push(leaf(sequence)));
        assert_eq!(whole, single);
    }
}

#[test]
fn a_subtree_that_does_not_fit_changes_nothing() {
    let mut three = frontier(&leaves(3));
    for height in [1, 2, 63, 64, u8::MAX] {
        assert_eq!(three.push_subtree(height, [0; 32]), None);
    }
    assert_eq!(three, frontier(&leaves(3)));
    let mut full = Frontier::from_bytes(tree::MAX_SIZE, &[7; 32]).unwrap();
    for height in [0, 1, 62, 63, 64] {
        assert_eq!(full.push_subtree(height, [0; 32]), None);
    }
    assert_eq!(Frontier::from_bytes(tree::MAX_SIZE + 1, &[7; 64]), None);
    assert_eq!(Frontier::default().push_subtree(63, [0; 32]), Some(()));
}

proptest! {
    #[test]
    fn bytes_are_a_frontier_or_nothing(
        size: u64,
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Some(frontier) = Frontier::from_bytes(size, &bytes) {
            prop_assert_eq!(&frontier.to_bytes(), &bytes);
        }
        for size in [0u32, 1, 2, 3, 7] {
            let expected = bytes.len() == 32 * size.count_ones() as usize;
            prop_assert_eq!(Frontier::from_bytes(u64::from(size), &bytes).is_some(), expected);
        }
    }
}
