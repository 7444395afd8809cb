"""What a search learns from: data sets, splits, drawn images."""
