//! Turns a folder into a whole lab.
