//! Turns keys and what the server tells into a dashboard.
//!
//! The core is pure: [`update::update`] takes the state and an event and gives the next state and
//! what is asked of the world, [`view::view`] draws the state. Only [`shell`] has a terminal, a
//! client and a clock.

pub mod ask;
pub mod belongs;
mod change;
mod check;
pub mod event;
pub(crate) mod files;
pub mod filter;
pub mod form;
mod go;
pub mod help;
pub mod keys;
pub mod line;
pub mod list;
pub mod model;
pub mod offers;
mod over;
pub mod own;
pub mod pace;
pub mod paper;
pub mod place;
pub mod plan;
pub mod plugin;
pub mod prompt;
pub mod pulse;
pub mod schema;
pub mod settings;
pub mod sheet;
pub mod shell;
pub mod skin;
mod stands;
pub mod store;
mod targets;
mod terminal;
pub mod text;
pub mod theme;
mod toml;
pub mod tree;
pub mod update;
pub mod view;
mod watches;
mod world;
