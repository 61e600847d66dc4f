//! What package indexes and wheel files say, read from bytes that somebody else fetched.
//!
//! Pure: no clock, environment, file or socket. All of it comes from strangers, so every reader has
//! caps, and a name that could leave its folder is refused.
