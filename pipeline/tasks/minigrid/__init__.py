"""The paper's four DoorKey tasks: MiniGrid environments, their batch engine, options and texts."""
