//! Who is calling: claims, verification, and the layer of every service.
