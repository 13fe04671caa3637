//! Images: content by digest, unpacking of layers, import and load.
