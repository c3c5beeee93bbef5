"""The bundled dreams, one folder each; imported as `dreamgym.pretrained`, which registers them."""
