//! Tests of a whole server, over real sockets, or in memory where time is stopped.

mod calls;
mod deadlines;
mod drain;
mod go_micro;
mod limits;
mod metrics;
mod openings;
mod overload;
mod panics;
mod probes;
mod refusals;
mod resets;
mod support;
