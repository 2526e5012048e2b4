use super::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proof::{consistency_nodes, fold, inclusion_nodes, range_nodes};
use proof::{verify_consistency, verify_inclusion};
use proptest::prelude::*;

/// Sizes up to this are compared in every combination.
const SIZES: u64 = 140;

// The test tree of Certificate Transparency: its leaves, roots and proofs.
const CT_LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const CT_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const LEAF_1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const LEAF_4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const NODES_2_4: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const NODES_4_6: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const NODES_4_8: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const NODES_6_8: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";

fn ct_leaves() -> Vec<Hash> {
    CT_LEAVES.map(|leaf| record_hash(&hex::decode(leaf).unwrap())).to_vec()
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let leaves = ct_leaves();
    for (position, root) in CT_ROOTS.into_iter().enumerate() {
        assert_eq!(frontier(&leaves[..=position]).root(), hash(root));
    }
}

#[test]
fn inclusion_proofs_are_those_of_certificate_transparency() {
    let leaves = ct_leaves();
    let nodes = Nodes::new(leaves.clone());
    let vectors: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[LEAF_1, NODES_2_4, NODES_4_8]),
        (5, 8, &[LEAF_4, NODES_6_8, CT_ROOTS[3]]),
        (2, 3, &[CT_ROOTS[1]]),
        (1, 5, &[CT_ROOTS[0], NODES_2_4, LEAF_4]),
    ];
    for (sequence, size, expected) in vectors {
        let expected: Vec<_> = expected.iter().map(|text| hash(text)).collect();
        assert_eq!(nodes.proof(inclusion_nodes(sequence, size).unwrap()), expected);
        let [leaf, root] = [leaves[position(sequence)], hash(CT_ROOTS[position(size - 1)])];
        assert_eq!(verify_inclusion(&leaf, sequence, size, &expected, &root), Ok(()));
    }
}

#[test]
fn consistency_proofs_are_those_of_certificate_transparency() {
    let nodes = Nodes::new(ct_leaves());
    let vectors: [(u64, u64, &[&str]); 4] = [
        (1, 1, &[]),
        (1, 8, &[LEAF_1, NODES_2_4, NODES_4_8]),
        (6, 8, &[NODES_4_6, NODES_6_8, CT_ROOTS[3]]),
        (2, 5, &[NODES_2_4, LEAF_4]),
    ];
    for (first, second, expected) in vectors {
        let expected: Vec<_> = expected.iter().map(|text| hash(text)).collect();
        assert_eq!(nodes.proof(consistency_nodes(first, second).unwrap()), expected);
        let [a, b] = [first, second].map(|size| hash(CT_ROOTS[position(size - 1)]));
        assert_eq!(verify_consistency(first, second, &a, &b, &expected), Ok(()));
    }
}

fn position(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

#[test]
fn proofs_are_those_of_ct_merkle() {
    let nodes = Nodes::new(leaves(SIZES));
    let mut theirs = MemoryBackedTree::<Sha256, [u8; 8]>::new();
    for size in 1..=SIZES {
        theirs.push((size - 1).to_be_bytes());
        assert_eq!(theirs.root().as_bytes()[..], nodes.root(size));
        for sequence in 0..size {
            let ours = nodes.proof(inclusion_nodes(sequence, size).unwrap());
            assert_eq!(theirs.prove_inclusion(position(sequence)).as_bytes(), ours.concat());
        }
        for first in 1..=size {
            let ours = nodes.proof(consistency_nodes(first, size).unwrap());
            let theirs = theirs.prove_consistency(position(size - first));
            assert_eq!(theirs.as_bytes(), ours.concat());
        }
    }
}

/// The hashes that an append to a log of `tlog_tiles` stores.
struct Stored(Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[position(*index)]).collect())
    }
}

#[test]
fn proofs_are_those_of_tlog_tiles_and_both_take_them() {
    let nodes = Nodes::new(leaves(SIZES));
    let mut stored = Stored(Vec::new());
    for size in 1..=SIZES {
        let data = (size - 1).to_be_bytes();
        let new = tlog_tiles::stored_hashes(size - 1, &data, &stored).unwrap();
        stored.0.extend(new);
        let root = nodes.root(size);
        assert_eq!(tlog_tiles::tree_hash(size, &stored).unwrap().0, root);
        // Every pair takes too long, so the ends and a stride that meets all remainders.
        for first in (1..=size).filter(|first| first % 11 == size % 11 || size - first < 2) {
            let sequence = first - 1;
            let proof = tlog_tiles::prove_record(size, sequence, &stored).unwrap();
            let proof: Vec<_> = proof.iter().map(|hash| hash.0).collect();
            assert_eq!(nodes.proof(inclusion_nodes(sequence, size).unwrap()), proof);
            assert_eq!(verify_inclusion(&leaf(sequence), sequence, size, &proof, &root), Ok(()));
            let proof = tlog_tiles::prove_tree(size, first, &stored).unwrap();
            let proof: Vec<_> = proof.iter().map(|hash| hash.0).collect();
            assert_eq!(nodes.proof(consistency_nodes(first, size).unwrap()), proof);
            let first_root = nodes.root(first);
            assert_eq!(verify_consistency(first, size, &first_root, &root, &proof), Ok(()));
        }
    }
}

/// What we say about a proof, and what `tlog_tiles` says.
fn both_include(leaf: Hash, sequence: u64, size: u64, proof: &[Hash], root: Hash) -> [bool; 2] {
    let theirs = proof.iter().map(|hash| tlog_tiles::Hash(*hash)).collect();
    let [root_hash, leaf_hash] = [root, leaf].map(tlog_tiles::Hash);
    [
        verify_inclusion(&leaf, sequence, size, proof, &root).is_ok(),
        tlog_tiles::check_record(&theirs, size, root_hash, sequence, leaf_hash).is_ok(),
    ]
}

fn both_extend(first: u64, second: u64, roots: [Hash; 2], proof: &[Hash]) -> [bool; 2] {
    let theirs = proof.iter().map(|hash| tlog_tiles::Hash(*hash)).collect();
    let [a, b] = roots.map(tlog_tiles::Hash);
    [
        verify_consistency(first, second, &roots[0], &roots[1], proof).is_ok(),
        tlog_tiles::check_tree(&theirs, second, b, first, a).is_ok(),
    ]
}

/// The proof with one bit changed, with a hash more or less, or with two swapped: never itself.
fn spoil(proof: &[Hash], kind: u8, place: usize) -> Vec<Hash> {
    let mut spoilt = proof.to_vec();
    let at = place % proof.len().max(1);
    match kind % 4 {
        0 if !proof.is_empty() => spoilt[at][place % 32] ^= 1 << (place % 8),
        1 if !proof.is_empty() => drop(spoilt.remove(at)),
        2 if proof.len() > 1 && at > 0 => spoilt.swap(0, at),
        _ => spoilt.insert(at, [9; 32]),
    }
    spoilt
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_wrong_inclusion_proof_is_refused(
        size in 1u64..200, at: u64, other: u64, kind: u8, place: usize,
    ) {
        let nodes = Nodes::new(leaves(size));
        let (sequence, root) = (at % size, nodes.root(size));
        let proof = nodes.proof(inclusion_nodes(sequence, size).unwrap());
        let right = leaf(sequence);
        prop_assert_eq!(both_include(right, sequence, size, &proof, root), [true; 2]);
        let spoilt = spoil(&proof, kind, place);
        prop_assert_eq!(both_include(right, sequence, size, &spoilt, root), [false; 2]);
        prop_assert_eq!(both_include(leaf(size), sequence, size, &proof, root), [false; 2]);
        prop_assert_eq!(both_include(right, sequence, size, &proof, [3; 32]), [false; 2]);
        let elsewhere = other % size;
        let expected = elsewhere == sequence;
        prop_assert_eq!(both_include(right, elsewhere, size, &proof, root), [expected; 2]);
    }

    #[test]
    fn a_wrong_consistency_proof_is_refused(
        second in 2u64..200, at: u64, kind: u8, place: usize,
    ) {
        let first = at % (second - 1) + 1;
        let nodes = Nodes::new(leaves(second));
        let roots = [nodes.root(first), nodes.root(second)];
        let proof = nodes.proof(consistency_nodes(first, second).unwrap());
        prop_assert_eq!(both_extend(first, second, roots, &proof), [true; 2]);
        let spoilt = spoil(&proof, kind, place);
        prop_assert_eq!(both_extend(first, second, roots, &spoilt), [false; 2]);
        prop_assert_eq!(both_extend(first, second, [[1; 32], roots[1]], &proof), [false; 2]);
        prop_assert_eq!(both_extend(first, second, [roots[0], [1; 32]], &proof), [false; 2]);
        prop_assert_eq!(both_extend(second, first, [roots[1], roots[0]], &proof), [false; 2]);
    }

    /// A proof does not tell the size of its tree by itself, so whoever checks a proof with a size
    /// that nobody signed learns little; but the two implementations agree on every one.
    #[test]
    fn sizes_are_checked_alike(size in 1u64..100, at: u64, wrong in 1u64..100) {
        let nodes = Nodes::new(leaves(size));
        let (sequence, root) = (at % size, nodes.root(size));
        let proof = nodes.proof(inclusion_nodes(sequence, size).unwrap());
        let [ours, theirs] = both_include(leaf(sequence), sequence, wrong, &proof, root);
        prop_assert_eq!(ours, theirs);
        let nothing = proof::consistency_nodes(1, size).unwrap();
        let [ours, theirs] = both_extend(1, wrong, [leaf(0), root], &nodes.proof(nothing));
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn no_numbers_make_us_panic(
        a: u64, b: u64, high in prop::bool::ANY, hashes in 0usize..70,
    ) {
        let (a, b) = if high { (u64::MAX - a % 300, u64::MAX - b % 300) } else { (a, b) };
        let (zero, proof) = ([0; 32], vec![[0; 32]; hashes]);
        prop_assert!(verify_inclusion(&zero, a, b, &proof, &[1; 32]).is_err());
        prop_assert!(verify_consistency(a, b, &zero, &[1; 32], &proof).is_err());
        prop_assert_eq!(inclusion_nodes(a, b).is_some(), a < b);
        prop_assert_eq!(consistency_nodes(a, b).is_some(), a <= b);
        let mut next = a;
        for node in range_nodes(a, b) {
            prop_assert_eq!(node.index << node.height, next);
            next += 1 << node.height;
        }
        prop_assert_eq!(next, a.max(b));
    }
}

#[test]
fn the_length_of_a_proof_is_checked_first() {
    for (sequence, size) in [(0, u64::MAX), (u64::MAX - 1, u64::MAX), (1 << 62, (1 << 62) + 1)] {
        let expected = inclusion_nodes(sequence, size).unwrap().len();
        let error = verify_inclusion(&[0; 32], sequence, size, &[[0; 32]; 70], &[0; 32]);
        assert_eq!(error, Err(ProofError::WrongLength { actual: 70, expected }));
        let expected = consistency_nodes(sequence + 1, size).unwrap().len();
        let error = verify_consistency(sequence + 1, size, &[0; 32], &[0; 32], &[[0; 32]; 70]);
        assert_eq!(error, Err(ProofError::WrongLength { actual: 70, expected }));
    }
}

#[test]
fn trees_without_growth_need_no_proof() {
    let (empty, root) = (empty_root(), [5; 32]);
    assert_eq!(verify_consistency(0, 9, &empty, &root, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 0, &empty, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(9, 9, &root, &root, &[]), Ok(()));
    let wrong = Err(ProofError::WrongFirstRoot);
    assert_eq!(verify_consistency(0, 9, &root, &root, &[]), wrong);
    assert_eq!(verify_consistency(9, 9, &root, &[6; 32], &[]), wrong);
    let long = Err(ProofError::WrongLength { actual: 1, expected: 0 });
    assert_eq!(verify_consistency(0, 9, &empty, &root, &[root]), long);
    assert_eq!(verify_consistency(9, 9, &root, &root, &[root]), long);
    let shrank = Err(ProofError::TreeShrank { first: 9, second: 8 });
    assert_eq!(verify_consistency(9, 8, &root, &root, &[]), shrank);
}

#[test]
fn ranges_are_cut_at_the_largest_aligned_subtrees() {
    let cut = |start, end| {
        range_nodes(start, end).iter().map(|node| (node.height, node.index)).collect::<Vec<_>>()
    };
    assert_eq!(cut(0, 7), [(2, 0), (1, 2), (0, 6)]);
    assert_eq!(cut(3, 10), [(0, 3), (2, 1), (1, 4)]);
    assert_eq!(cut(5, 5), []);
    assert_eq!(cut(6, 5), []);
    assert_eq!(range_nodes(1, u64::MAX).len(), 126);
    assert_eq!(fold(&[]), None);
    let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
    assert_eq!(fold(&[a, b, c]), Some(node_hash(&a, &node_hash(&b, &c))));
}
