//! The journal against a faulty file system, a model, and the calendar of what can go wrong.
