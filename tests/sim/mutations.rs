//! Safety rules, each with what removes it: the simulator has to notice every one.
