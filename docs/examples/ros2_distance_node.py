"""A ROS 2 node that measures the photos of a camera topic. An example: not part of the tests.

Start it beside the driver of the camera that the model belongs to:

    python3 docs/examples/ros2_distance_node.py --ros-args \
        -p model:=data/06_models/student -r image:=/camera/image_raw

It takes `image` (sensor_msgs/Image, 8 bits a colour) and publishes `distance` (32FC1, metres along
the optical axis) and `accuracy_probability` (32FC1, probability that the error is below 10 %), both
with the header of the photo. A photo that the model refuses is logged and left out.
"""

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

import rangefinder

ORDERS = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "mono8": (0, 0, 0)}  # places of red, green, blue


class DistanceNode(Node):
    """Photos in, maps of distance out; only the newest photo waits while one is measured."""

    def __init__(self) -> None:
        super().__init__("rangefinder")
        model = self.declare_parameter("model", "data/06_models/student").value
        force = self.declare_parameter("force", False).value
        self._session = rangefinder.load_model(model, force=force)
        names = ("distance", "accuracy_probability")
        self._distance, self._accuracy = (self.create_publisher(Image, name, 1) for name in names)
        newest = qos_profile_sensor_data
        newest.depth = 1
        self.create_subscription(Image, "image", self._measure, newest)

    def _measure(self, message: Image) -> None:
        try:
            result = self._session.measure(pixels_of(message))
        except (rangefinder.RangefinderError, KeyError) as error:
            self.get_logger().warning(f"not measured: {error}", throttle_duration_sec=5.0)
            return
        self._distance.publish(message_of(result.distance_m, message))
        self._accuracy.publish(message_of(result.accuracy_probability, message))


def pixels_of(message: Image) -> NDArray[np.uint8]:
    """Pixels `[H, W, 3]` in sRGB; a KeyError for an encoding that is not in `ORDERS`."""
    order = ORDERS[message.encoding]
    samples = message.width * (max(order) + 1)  # a row may be longer than its samples
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    return rows[:, :samples].reshape(message.height, message.width, -1)[:, :, order]


def message_of(values: NDArray[np.floating], photo: Image) -> Image:
    """A map `[H, W]` as a message with the header of its photo."""
    height, width = values.shape
    return Image(
        header=photo.header,
        height=height,
        width=width,
        encoding="32FC1",
        is_bigendian=0,
        step=4 * width,
        data=values.astype("<f4").tobytes(),
    )


def main() -> None:
    """Measure until the node is ended."""
    rclpy.init()
    node = DistanceNode()
    try:
        rclpy.spin(node)
    finally:
        node.destroy_node()


if __name__ == "__main__":
    main()
