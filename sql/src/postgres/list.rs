//! Reading a list of what PostgreSQL has: an entry a line, its fields between tabs.

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
