//! Containers as users mean them: names, requests, states, and the Spec that the runtime gets.
