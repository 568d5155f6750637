//! A model of the state machine, and random lives of jobs that both it and the store go through.
