"""Where a model should not answer alone: prediction sets, abstention, images unlike anything seen."""
