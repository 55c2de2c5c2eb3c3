"""Pure tensor mathematics: functions of tensors, no nn.Module, no files."""
