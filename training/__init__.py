"""How a model comes to be: line simulator, data sets, fit, evaluation."""
