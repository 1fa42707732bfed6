"""What a step costs: its work counted from the model's shape, its time from hardware or from runs.

`work` counts, `roofline` prices on hardware described in `hardware.yaml`, `calibrated` prices as
measured steps did. No torch: a trace of a hundred thousand steps is priced in a second.
"""
