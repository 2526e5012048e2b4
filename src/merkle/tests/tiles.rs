use super::*;
use proptest::prelude::*;
use tile::node_in_tile;

fn tile(level: u8, index: u64) -> TileId {
    TileId { level, index }
}

/// The example of tlog-tiles, "Partial Tiles".
#[test]
fn a_tree_of_70_000_leaves_has_the_documented_tiles() {
    let width = |level, index| tile(level, index).width(70_000);
    assert!((0..273).all(|index| width(0, index) == 256));
    assert_eq!([width(0, 273), width(0, 274)], [112, 0]);
    assert_eq!([width(1, 0), width(1, 1), width(1, 2)], [256, 17, 0]);
    assert_eq!([width(2, 0), width(2, 1), width(3, 0)], [1, 0, 0]);
    assert_eq!([tile(0, 0).width(256), tile(1, 0).width(256)], [256, 1]);
}

#[test]
fn widths_and_leaves_do_not_overflow() {
    assert_eq!(tile(0, u64::MAX).width(u64::MAX), 0);
    assert_eq!(tile(7, 0).width(u64::MAX), 255);
    assert_eq!([tile(8, 0).width(u64::MAX), tile(255, 1).width(u64::MAX)], [0; 2]);
    assert_eq!(tile(0, 2).leaves(), Some(512..768));
    assert_eq!(tile(1, 1).leaves(), Some(65_536..131_072));
    assert_eq!(tile(6, 255).leaves(), None);
    assert_eq!(
        [tile(0, u64::MAX).leaves(), tile(7, 0).leaves(), tile(255, 0).leaves()],
        [const { None }; 3]
    );
}

#[test]
fn a_node_is_computed_from_its_tile() {
    let nodes = Nodes::new(leaves(1100));
    for height in 0..=10 {
        for index in 0..1100 >> height {
            let node = NodeId { height, index };
            let (tile, positions) = TileId::of_node(node);
            assert_eq!(tile.level, height / 8);
            let start = position(tile.index * 256);
            let level = &nodes.0[usize::from(tile.level * 8)][start..];
            let hashes = &level[..position(tile.width(1100))];
            assert_eq!(node_in_tile(tile, hashes, node), Some(nodes.get(node)));
            assert_eq!(node_in_tile(tile, &hashes[..positions.end - 1], node), None);
            let neighbour = TileId { index: tile.index + 1, ..tile };
            assert_eq!(node_in_tile(neighbour, hashes, node), None);
        }
    }
}

fn position(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

#[test]
fn paths_are_those_of_the_specification() {
    let path = TileResource::Hashes { tile: tile(3, 1_234_067), width: 256 };
    assert_eq!(path.to_string(), "3/x001/x234/067");
    let path = TileResource::Entries { index: 7, width: 8 };
    assert_eq!(path.to_string(), "entries/007.p/8");
    let path = TileResource::Hashes { tile: tile(63, u64::MAX), width: 1 };
    assert_eq!(path.to_string(), "63/x018/x446/x744/x073/x709/x551/615.p/1");
    assert_eq!(TileResource::parse(&path.to_string()), Some(path));
}

#[test]
fn paths_that_only_look_alike_are_refused() {
    for path in [
        "",
        "0",
        "0/",
        "/000",
        "00/000",
        "64/000",
        "256/000",
        "+1/000",
        "-1/000",
        "data/000",
        "Entries/000",
        "entries",
        "entries/",
        "0/0",
        "0/00",
        "0/0000",
        "0/x000",
        "0/x000/001",
        "0/001/002",
        "0/x001/x002",
        "0/xx01",
        "0/x1/000",
        "0/+01",
        "0/x+01/000",
        "0/000/",
        "0//000",
        "0/000.p",
        "0/000.p/",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/000.p/+1",
        "0/000.p/1/",
        "0/000.p/1.p/1",
        "0/000 ",
        " 0/000",
        "tile/0/000",
        "0/٠٠٠",
        "0/x018/x446/x744/x073/x709/x551/616",
        "0/x001/x018/x446/x744/x073/x709/x551/615",
    ] {
        assert_eq!(TileResource::parse(path), None, "{path}");
    }
}

proptest! {
    #[test]
    fn paths_survive(level in 0u8..64, index: u64, shift in 0u32..64, width in 1u32..=256) {
        let index = index >> shift;
        let hashes = TileResource::Hashes { tile: tile(level, index), width: u64::from(width) };
        let theirs = tlog_tiles::Tile::new(8, level, index, width, false).path();
        prop_assert_eq!(format!("tile/8/{hashes}"), theirs);
        let entries = TileResource::Entries { index, width: u64::from(width) };
        prop_assert_eq!(TileResource::parse(&hashes.to_string()), Some(hashes));
        prop_assert_eq!(TileResource::parse(&entries.to_string()), Some(entries));
    }

    #[test]
    fn a_resource_has_one_path(path in "(entries|[0-9]{0,3})/[0-9x/.p+]{0,24}|.{0,20}") {
        if let Some(resource) = TileResource::parse(&path) {
            prop_assert_eq!(resource.to_string(), path);
        }
    }

    #[test]
    fn a_changed_path_is_another_or_none(index: u64, at: usize, kind: u8, with: char) {
        let path = TileResource::Entries { index, width: 17 }.to_string();
        let changed = mutate(&path, at, kind, with);
        if let Some(resource) = TileResource::parse(&changed) {
            prop_assert_eq!(resource.to_string(), changed);
        }
    }

    #[test]
    fn no_node_makes_us_panic(level: u8, height: u8, index: u64, size: u64) {
        let (tile, positions) = TileId::of_node(NodeId { height, index });
        prop_assert!(positions.end <= 256 && positions.start < positions.end);
        let width = TileId { level, ..tile }.width(size);
        prop_assert!(width <= 256);
        node_in_tile(tile, &[[0; 32]; 3], NodeId { height, index });
    }
}
