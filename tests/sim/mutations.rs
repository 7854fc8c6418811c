//! Safety rules, each with the change that removes it (`mutations.txt`): the simulator has to notice every one.
//!
//! `make mutants` tries them, by `mutate.py`. Here only that each of them is still a change of the product as it is.

use std::fs;
use std::path::Path;

#[test]
fn every_mutation_has_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // What the file says of itself comes first.
    for block in include_str!("mutations.txt").split("\n\n").skip(1) {
        let lines: Vec<&str> = block.trim().lines().collect();
        let [name, file, place, _instead] = lines[..] else { panic!("four lines, not {lines:?}") };
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{name}: {file}: {e}"));
        let place = place.replace("\\n", "\n").replace(['⟦', '⟧'], "");
        assert_eq!(text.matches(&place).count(), 1, "{name}: {place}");
    }
}
