//! Where values are stored: inside larger ones ([`placement`]), or over inputs that are read for the last time ([`reuse`]); and what must hold of the instructions that use the memory ([`verify`]).

#[cfg(test)]
mod damaged;
pub(crate) mod placement;
mod reuse;
pub(crate) mod verify;
