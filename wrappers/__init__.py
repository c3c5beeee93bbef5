"""World-model wrappers, `WorldModel -> WorldModel`, one a file; imported as `dreamgym.wrappers`."""
