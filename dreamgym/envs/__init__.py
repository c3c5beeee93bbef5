"""Dreams as environments: the simulator and the Gymnasium shells around it."""
