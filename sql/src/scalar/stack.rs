//! Deep expressions are compiled and run on a stack of their own: workers' stacks are small.

use super::expression::Scalar;

/// Levels of an expression that any thread's stack can take, and the stack for those with more, of which only what is used is taken.
const SHALLOW: usize = 40;
const STACK: usize = 64 << 20;

/// Whether it takes a stack of its own.
pub(super) fn is_deep(scalar: &Scalar) -> bool {
    scalar.depth() > SHALLOW
}

/// `run` on a stack that is large enough.
pub(super) fn on_stack<T>(deep: bool, run: impl FnOnce() -> T) -> T {
    if deep { stacker::grow(STACK, run) } else { run() }
}
