//! Reading a list of what PostgreSQL has, an entry a line with its fields between tabs, and finding what is in it.

/// The fields of each line of a list.
pub fn lines<const N: usize>(list: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    list.lines().map(|line| {
        let mut fields = line.split('\t');
        let found = std::array::from_fn(|_| fields.next().expect("a line has all its fields"));
        assert!(fields.next().is_none(), "a line has no more fields: {line}");
        found
    })
}

/// A field that may be empty.
pub fn present(field: &'static str) -> Option<&'static str> {
    (field != "-").then_some(field)
}

pub fn number<T: std::str::FromStr>(field: &str) -> T {
    field.parse().ok().expect("a number")
}

/// Those of a name, of entries in the order of their names.
pub fn named<T>(entries: &'static [T], name_of: impl Fn(&T) -> &'static str, name: &str) -> &'static [T] {
    let from = entries.partition_point(|entry| name_of(entry) < name);
    let to = from + entries[from..].partition_point(|entry| name_of(entry) == name);
    &entries[from..to]
}
