//! The way of a file down: roots, pages, and layouts with read tickets.

pub mod layout;
pub mod nodes;
pub mod roots;
