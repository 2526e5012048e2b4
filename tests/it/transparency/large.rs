//! A tree with more leaves than one tile of the second level has.

use audit_logs::{
    merkle::{
        Frontier, Hash, node_hash,
        proof::{verify_consistency, verify_inclusion},
    },
    proto::v1::GetConsistencyProofRequest,
};

use super::{by_sequence, grow, hash, log};
use crate::support::{Engine, TestServer, on_every_engine, server::ROOT_KEY};

on_every_engine!(a_tree_of_more_than_65_536_leaves_is_proven);

const TILE: usize = 256;
/// A full tile of level 1, another full tile of level 0, and 44 leaves.
const SIZE: usize = TILE * TILE + TILE + 44;

/// Some hash.
fn leaf(number: usize) -> Hash {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    hash
}

fn root_of(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.as_chunks::<2>().0.iter().map(|[l, r]| node_hash(l, r)).collect();
    }
    level[0]
}

/// What two engines write differently.
fn literal(engine: Engine, bytes: &[u8]) -> String {
    let hex = hex::encode(bytes);
    if engine == Engine::Sqlite { format!("x'{hex}'") } else { format!("'\\x{hex}'::bytea") }
}

/// Puts the rows of such a tree into the database, as if its events had been erased: what is left is
/// the tiles, and the leaves of the tile that is not complete.
async fn fill(server: &TestServer, leaves: &[Hash]) {
    // The organization, with one event.
    grow(server, "acme", 1).await;
    let bytes = |bytes: &[u8]| literal(server.engine, bytes);
    let row = |level: u8, tile: usize, hashes: &[Hash]| {
        let (hashes, root) = (bytes(&hashes.concat()), bytes(&root_of(hashes)));
        format!("INSERT INTO log_tiles VALUES ('acme', {level}, {tile}, {hashes}, {root})")
    };
    let full = leaves.as_chunks::<TILE>().0;
    let mut statements: Vec<String> =
        full.iter().enumerate().map(|(tile, hashes)| row(0, tile, hashes)).collect();
    let roots: Vec<Hash> = full[..TILE].iter().map(|hashes| root_of(hashes)).collect();
    statements.push(row(1, 0, &roots));
    statements.push("DELETE FROM events".to_owned());
    for (sequence, leaf) in leaves.iter().enumerate().skip(full.len() * TILE) {
        let (hash, nothing) = (bytes(leaf), bytes(&[]));
        statements.push(format!(
            "INSERT INTO events VALUES ('acme', {sequence}, 'erased {sequence}', '', 1, 0, 0, '', \
             NULL, '', '', {nothing}, {nothing}, {hash})"
        ));
    }
    let mut frontier = Frontier::default();
    frontier.push_subtree(16, root_of(&roots)).unwrap();
    frontier.push_subtree(8, root_of(&full[TILE])).unwrap();
    leaves[full.len() * TILE..].iter().for_each(|leaf| frontier.push(*leaf));
    let (size, peaks) = (frontier.size(), bytes(&frontier.to_bytes()));
    statements.push(format!("UPDATE log_heads SET size = {size}, frontier = {peaks}"));
    server.execute(&statements.join(";\n")).await;
}

async fn a_tree_of_more_than_65_536_leaves_is_proven(engine: Engine) {
    let server = TestServer::start(engine).await;
    let leaves: Vec<Hash> = (0..SIZE).map(leaf).collect();
    fill(&server, &leaves).await;
    let mut log = log(&server).await;
    let present = SIZE as u64;
    for size in [257, 65_535, 65_536, 65_537, 65_792, 65_793, present] {
        for sequence in [0, 255, 256, 65_279, 65_535, 65_536, 65_791, 65_792, present - 1] {
            if sequence >= size {
                continue;
            }
            let request = by_sequence("acme", sequence, Some(size));
            let answer = log.get_inclusion_proof(request).await.unwrap().into_inner();
            let proof: Vec<Hash> = answer.hashes.iter().map(|bytes| hash(bytes)).collect();
            let (root, leaf) = (hash(&answer.root_hash), leaf(usize::try_from(sequence).unwrap()));
            verify_inclusion(&leaf, sequence, size, &proof, &root).unwrap();
            let theirs = proof.into_iter().map(tlog_tiles::Hash).collect();
            let [root, leaf] = [root, leaf].map(tlog_tiles::Hash);
            tlog_tiles::check_record(&theirs, size, root, sequence, leaf).unwrap();
        }
        let request = GetConsistencyProofRequest {
            organization_id: "acme".into(),
            first_tree_size: size,
            second_tree_size: None,
        };
        let answer = log.get_consistency_proof(request).await.unwrap().into_inner();
        let proof: Vec<Hash> = answer.hashes.iter().map(|bytes| hash(bytes)).collect();
        let roots = [&answer.first_root_hash, &answer.second_root_hash].map(|root| hash(root));
        verify_consistency(size, present, &roots[0], &roots[1], &proof).unwrap();
    }
    // The tiles of the second level, by their path.
    let http = reqwest::Client::builder().build().unwrap();
    let tile = async |path: &str| {
        let url = format!("{}/tlog/acme/tile/{path}", server.url);
        let request = http.get(url).bearer_auth(ROOT_KEY);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.bytes().await.unwrap().to_vec()
    };
    let level_1 = tile("1/000").await;
    assert_eq!(level_1.len(), TILE * 32);
    assert_eq!(tile("1/001.p/1").await, root_of(&leaves[TILE * TILE..][..TILE]));
    let roots: Vec<Hash> = level_1.as_chunks::<32>().0.to_vec();
    assert_eq!(tile("2/000.p/1").await, root_of(&roots));
    assert_eq!(tile("0/257.p/44").await, leaves[SIZE - 44..].concat());
}
