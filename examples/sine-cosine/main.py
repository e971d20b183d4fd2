"""Writes a sine and a cosine wave, point by point, so that a chart can be watched while it grows."""

import math
import time

from deepsense import neptune

PERIOD = 5.0  # seconds of one wave

ctx = neptune.Context()

amplitude = ctx.params.amplitude
sampling_rate = ctx.params.sampling_rate
seconds = ctx.params.seconds

sine_channel = ctx.job.create_channel(name="sine", channel_type=neptune.ChannelType.NUMERIC)
cosine_channel = ctx.job.create_channel(name="cosine", channel_type=neptune.ChannelType.NUMERIC)
logging_channel = ctx.job.create_channel(name="logging", channel_type=neptune.ChannelType.TEXT)

ctx.job.create_chart(name="sine & cosine", series={"sine": sine_channel, "cosine": cosine_channel})

ctx.job.finalize_preparation()

interval = 1.0 / sampling_rate
points = max(1, round(seconds * sampling_rate))
start = time.monotonic()

logging_channel.send(x=0.0, y=f"{points} points, one each {interval:g} s, amplitude {amplitude:g}")

for i in range(points):
    # Each point has its own instant, so that a slow one does not delay all that follow.
    time.sleep(max(0.0, start + i * interval - time.monotonic()))

    x = i * interval
    angle = 2.0 * math.pi * x / PERIOD
    sine_channel.send(x=x, y=amplitude * math.sin(angle))
    cosine_channel.send(x=x, y=amplitude * math.cos(angle))

    wave, position = divmod(x, PERIOD)
    if position < interval:
        logging_channel.send(x=x, y=f"wave {int(wave) + 1} begins")

logging_channel.send(x=points * interval, y="the end")
