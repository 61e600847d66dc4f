//! From the packages that a lock has decided on to every wheel file that an installation needs.
//!
//! Pure, and without a loop of its own: it says what it wants to know, somebody else asks the index.
