"""Dreams as Gymnasium environments: one simulator that counts episodes, two thin shells that convert units."""
