"""An S3 server on loopback that lives as long as its standard input: moto, with the check of signatures
switched on. Prints one line of JSON: the port and a key that may use the bucket `telemetry`."""

import json
import os
import sys

# As many requests as make the user, before each request needs a signature that is right.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "4"

import boto3  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def main():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    anyone = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "us-east-1",
        "aws_access_key_id": "anyone",
        "aws_secret_access_key": "anyone",
    }
    iam = boto3.client("iam", **anyone)
    iam.create_user(UserName="commonwatch")
    key = iam.create_access_key(UserName="commonwatch")["AccessKey"]
    iam.put_user_policy(UserName="commonwatch", PolicyName="all", PolicyDocument=json.dumps(POLICY))
    boto3.client("s3", **anyone).create_bucket(Bucket="telemetry")
    print(json.dumps({"port": port, "key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
