"""The gRPC generator of grpcio-tools as a plug-in that `buf generate` can run.

grpcio-tools has it built into its protoc, where only protoc itself reaches it. So the request of the
plug-in protocol (google/protobuf/compiler/plugin.proto) is handed to that protoc as a descriptor set.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def main() -> int:
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    with tempfile.TemporaryDirectory() as scratch:
        descriptors, out = Path(scratch, "descriptors.bin"), Path(scratch, "out")
        out.mkdir()
        descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        code = protoc.main(["protoc", f"--descriptor_set_in={descriptors}",
                            f"--grpc_python_out={out}", *request.file_to_generate])
        if code:
            return code
        response = CodeGeneratorResponse(
            supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL,
            file=[CodeGeneratorResponse.File(name=str(path.relative_to(out)), content=path.read_text())
                  for path in sorted(out.rglob("*.py"))],
        )
    sys.stdout.buffer.write(response.SerializeToString())
    return 0


if __name__ == "__main__":
    sys.exit(main())
